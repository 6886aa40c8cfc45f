"""A real stack on this machine from package registries: Apache Kafka, a schema registry, Flink. Loopback only."""
