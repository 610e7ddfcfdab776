"""PagerDuty's Events API v2: pages, their end, and the changes shown beside them."""

from integrations.pagerduty.pager import PagerDutyPager
from integrations.pagerduty.settings import PagerDutySettings

__all__ = ["PagerDutyPager", "PagerDutySettings"]
