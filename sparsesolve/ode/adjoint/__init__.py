"""The discrete adjoint of stiff integration: steps recorded as values, swept forwards or backwards afterwards."""
