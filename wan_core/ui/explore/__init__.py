"""The Explore tab: its styles and scripts."""
