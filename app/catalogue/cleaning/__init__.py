"""Makes what readers give fit for the stores and for training, and says what was done and why."""

from app.catalogue.cleaning.clean import Cleaned, clean
from app.catalogue.cleaning.report import CleaningReport, Finding, write_rejects

__all__ = ["Cleaned", "CleaningReport", "Finding", "clean", "write_rejects"]
