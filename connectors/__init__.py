"""Where records come from and go to. No rule about people lives here."""
