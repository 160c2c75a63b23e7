"""From request to clip: `service` accepts, `store` keeps, `runner` runs, `budget` limits spending."""
