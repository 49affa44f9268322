"""Pure rules and statistics: no framework, no database, no clock, no hidden randomness."""
