"""What a message is: addresses, envelope, header, status of a recipient, the notice about it."""
