"""`python -m faas_connector` is the command `faas-connector`."""

from faas_connector.cli import main

if __name__ == "__main__":
    main()
