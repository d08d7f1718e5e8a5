"""What tests share: commands, submissions and networks to test with, a stand-in for CodaBench."""
