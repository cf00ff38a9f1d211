"""What is known of the fitted parameters: covariance, standard errors, the report."""
