// Keeps an open incident's page as it is now. What comes in was rendered and escaped by the gateway.
(() => {
  const page = document.querySelector("[data-events]");
  if (!page || !window.EventSource) {
    return;
  }
  const say = (id, text) => {
    const place = document.getElementById(id);
    if (place && place.textContent !== text) {
      place.textContent = text;
    }
  };

  const replace = (section, part) => {
    if (section.dataset.version === part.version) {
      return;
    }
    const focused = section.contains(document.activeElement) ? document.activeElement.id : "";
    const unfolded = [...section.querySelectorAll("details[open][id]")].map((each) => each.id);
    section.innerHTML = part.html;
    section.dataset.version = part.version;
    for (const id of unfolded) {
      const details = document.getElementById(id);
      if (details) {
        details.open = true;
      }
    }
    if (focused) {
      (document.getElementById(focused) || document.getElementById("main")).focus({ preventScroll: true });
    }
  };

  const source = new EventSource(page.dataset.events);
  let ended = false;
  source.addEventListener("open", () => say("live", "This page follows the incident."));
  source.addEventListener("sections", (event) => {
    const news = JSON.parse(event.data);
    for (const [name, part] of Object.entries(news.sections)) {
      const section = document.getElementById(name);
      if (section) {
        replace(section, part);
      }
    }
    document.title = `${news.title} · Incident Commander`;
    say("news", news.news);
    say("live", "This page follows the incident.");
  });
  source.addEventListener("trouble", (event) => say("live", JSON.parse(event.data).text));
  source.addEventListener("end", () => {
    ended = true;
    source.close();
    say("live", "The incident has closed.");
  });
  source.addEventListener("error", () => {
    if (!ended) {
      const over = source.readyState === EventSource.CLOSED;
      say("live", over ? "This page follows the incident no longer." : "The connection is lost; it is tried again.");
    }
  });
})();
