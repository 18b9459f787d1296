"""Where a message rests: durable files, the queue, each message's journal."""
