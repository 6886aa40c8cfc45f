"""Apache Kafka in and out, by kafka-python. No rule about people lives here."""
