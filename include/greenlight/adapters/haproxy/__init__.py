"""HAProxy as the fleet's router: changed through its runtime API only, never reloaded."""
