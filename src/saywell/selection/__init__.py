"""Which of several texts describe a unit: chosen by what labelled examples say of them."""
