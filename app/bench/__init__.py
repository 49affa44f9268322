"""``arena bench``: the load of many raters on a real server, in an arena of its own."""
