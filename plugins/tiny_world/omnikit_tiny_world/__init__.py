"""A small synthetic world of drawn images, videos and speech."""
