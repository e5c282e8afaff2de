"""What looks at pictures and says what is in them."""
