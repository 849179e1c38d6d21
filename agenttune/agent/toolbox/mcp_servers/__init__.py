"""Tools of servers that speak the Model Context Protocol (https://modelcontextprotocol.io)."""
