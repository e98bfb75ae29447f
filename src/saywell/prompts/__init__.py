"""The prompt files that come with saywell, one Jinja file each."""
