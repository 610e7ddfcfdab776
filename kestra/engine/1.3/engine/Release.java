package engine;

import io.kestra.core.models.executions.Execution;
import io.kestra.core.models.executions.ExecutionKilled;
import io.kestra.core.models.executions.ExecutionKilledExecution;
import io.kestra.core.models.executions.LogEntry;
import io.kestra.core.models.executions.TaskRun;
import io.kestra.core.queues.QueueFactoryInterface;
import io.kestra.core.queues.QueueInterface;
import io.kestra.core.repositories.LogRepositoryInterface;
import io.micronaut.context.ApplicationContext;
import io.micronaut.core.type.Argument;
import io.micronaut.inject.qualifiers.Qualifiers;
import java.util.List;
import java.util.Map;
import org.slf4j.event.Level;

/** What only Kestra 1.3 has. */
final class Release {
    private final LogRepositoryInterface logs;
    private final QueueInterface<ExecutionKilled> kills;

    Release(ApplicationContext context) {
        logs = context.getBean(LogRepositoryInterface.class);
        kills = context.getBean(
            Argument.of(QueueInterface.class, ExecutionKilled.class), Qualifiers.byName(QueueFactoryInterface.KILL_NAMED));
    }

    static Map<String, Object> settings() {
        return Map.of(
            "kestra.worker.liveness.enabled", false,
            "kestra.server.termination-grace-period", "1s",
            "flyway.datasources.h2.enabled", true,
            "flyway.datasources.h2.locations", List.of("classpath:migrations/h2"),
            "flyway.datasources.h2.ignore-migration-patterns", "*:missing,*:future",
            "flyway.datasources.h2.out-of-order", true);
    }

    void kill(Execution execution) throws Exception {
        kills.emit(ExecutionKilledExecution.builder()
            .tenantId(execution.getTenantId())
            .executionId(execution.getId())
            .state(ExecutionKilled.State.REQUESTED)
            .isOnKillCascade(true)
            .build());
    }

    Map<String, Object> outputs(TaskRun run) {
        return run.getOutputs();
    }

    Map<String, Object> outputs(Execution execution) {
        return execution.getOutputs();
    }

    List<LogEntry> logs(Execution execution) {
        return logs.findByExecutionId(execution.getTenantId(), execution.getId(), Level.INFO);
    }
}
