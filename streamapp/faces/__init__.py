"""Who somebody is: enrolling faces, matching them, correcting what was matched before."""
