"""The image and deploy/compose on a real engine of containers, and what befalls them at work.

Google's services and TLC are the emulators, in a container of their own; where no registry of
images is reached, the two base images are made of Debian's packages and PyPI's.
"""
