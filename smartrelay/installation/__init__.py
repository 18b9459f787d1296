"""What `smartrelay setup` does: links, units, user, spool, man pages and a first configuration, put in and taken away.

A plan is a list of steps, each of which says in one line what it does before it does it. What was done is written
down in a record, so that taking away needs no guessing: what was there before stays, what an operator has changed
stays.
"""
