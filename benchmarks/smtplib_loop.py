"""The bare loop that relaying is compared with: PORT COUNT FILE; sends the file so often from memory, over one connection."""

import smtplib
import sys

port, count = int(sys.argv[1]), int(sys.argv[2])
with open(sys.argv[3], "rb") as file:
    message = file.read()
with smtplib.SMTP("127.0.0.1", port, local_hostname="bench.example.test") as client:
    for _ in range(count):
        client.sendmail("sender@bench.example.test", ["user@dest.example.test"], message)
