"""Does our dialect pass the suite that SQLAlchemy publishes for dialects?"""

from sqlalchemy.testing.suite import *  # noqa: F403
