"""What every method needs around its step: step-size control, starts, dense output."""
