"""How much processor time a request costs, beside other servers in the same run."""
