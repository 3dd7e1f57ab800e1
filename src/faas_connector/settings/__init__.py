"""Settings of the commands: flags, environment variables and a YAML file give the values that
programs give to constructors. All of it is made from the fields of the classes of settings.
"""
