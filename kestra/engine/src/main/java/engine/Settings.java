package engine;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** Kestra's configuration for an engine that one test owns: in memory, quick, and silent towards everybody else. */
final class Settings {
    private static final String DATABASE =
        "jdbc:h2:mem:engine;TIME ZONE=UTC;DB_CLOSE_DELAY=-1;DB_CLOSE_ON_EXIT=FALSE;LOCK_TIMEOUT=30000";

    static Map<String, Object> in(Path folder) throws Exception {
        Map<String, Object> settings = new HashMap<>(Map.of(
            "datasources.h2.url", DATABASE,
            "datasources.h2.username", "sa",
            "datasources.h2.password", "",
            "datasources.h2.driverClassName", "org.h2.Driver"));
        settings.putAll(Map.of(
            "kestra.server-type", "STANDALONE",
            "kestra.url", "http://localhost/",
            "kestra.repository.type", "h2",
            "kestra.queue.type", "h2",
            "kestra.storage.type", "local",
            "kestra.storage.local.base-path", folder.resolve("storage").toString(),
            "kestra.tasks.tmp-dir.path", folder.resolve("tmp").toString(),
            "kestra.anonymous-usage-report.enabled", false));
        // What takes its time: queues are looked at more often than by a server, others never; a busy machine may start late.
        settings.putAll(Map.of(
            "kestra.jdbc.queues.min-poll-interval", "5ms",
            "kestra.jdbc.queues.max-poll-interval", "50ms",
            "kestra.server.standalone.running.timeout", "3m",
            "kestra.server.liveness.enabled", false,
            "kestra.server.service.purge.initial-delay", "1h",
            "kestra.server.service.purge.fixed-delay", "1d",
            "kestra.server.service.purge.retention", "30d"));
        // What the server's own application.yml says, which is not on Maven Central.
        settings.putAll(Map.of(
            "jackson.serialization.writeDatesAsTimestamps", false,
            "jackson.serialization.writeDurationsAsTimestamps", false,
            "jackson.serialization-inclusion", "non_null"));
        settings.putAll(Release.settings());
        return settings;
    }

    private Settings() {}
}
