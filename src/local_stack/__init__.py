"""What runs beside the bot on one machine: a private MariaDB and the local exchange."""
