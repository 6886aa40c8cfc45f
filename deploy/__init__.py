"""Where Kairos runs: the local stack, clusters, containers. Nothing here knows a person."""
