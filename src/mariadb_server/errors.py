"""What can go wrong with a private server, in one line that says what to do."""


class MariaDBError(Exception):
    """The server could not be fetched, created, started or used."""


class PortTaken(MariaDBError):
    """Another program listens on the port that the server was given."""
