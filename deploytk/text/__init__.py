"""Text models: what they are asked, what they answer, how right that is. Importing it imports no model library."""
