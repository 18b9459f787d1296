"""Every part of the configuration tried for real, without sending anything. What is found is data, and never raised."""
