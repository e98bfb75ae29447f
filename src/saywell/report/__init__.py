"""Pictures and pages. This package knows the store and no study."""
