2
token