"""What comes from other systems: their configurations become graph files, their queues journal records."""
