"""Read Databricks bundles: several files, one target, variables; what comes out is one mapping for each job."""
