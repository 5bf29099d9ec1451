"""Changes that a user makes, and what they look like before they are made.

Thin command lines and a later web page stand on the same functions. Nothing here places or cancels
an order. Every refusal is a `Refused` with one line that says what would be right.
"""
