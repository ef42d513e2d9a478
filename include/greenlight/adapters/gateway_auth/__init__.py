"""Who asks: API keys from the database, access tokens by their issuers' key sets."""
