"""nginx with ModSecurity and the OWASP Core Rule Set, in front of the gateway."""
