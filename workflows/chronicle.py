"""Where an incident is and what has happened, kept in its dossier and shown in the Web UI."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from incident.dossier import Dossier, Stage, TimelineEntry
    from workflows import showing


class Chronicle:
    """Writes the timeline of one incident."""

    def __init__(self, dossier: Dossier) -> None:
        self._dossier = dossier

    def enter(self, stage: Stage, text: str = "") -> None:
        """The incident has reached `stage`."""
        self._dossier.stage = stage
        workflow.upsert_search_attributes(showing.attributes(self._dossier))
        self.note(text)

    def note(self, text: str) -> None:
        """Something has happened; an empty text only shows the dossier anew."""
        if text:
            entry = TimelineEntry(at=workflow.now(), stage=self._dossier.stage, text=text)
            self._dossier.timeline.append(entry)
        workflow.set_current_details(showing.details(self._dossier))
