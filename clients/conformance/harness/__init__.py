"""What do the tests share? A server process, generated stubs, a small client, one comparison rule, the data."""
