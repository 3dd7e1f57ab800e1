"""The gateway's contract, row by row, over plain sockets; bodies and statuses to the byte."""
