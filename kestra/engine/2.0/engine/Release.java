package engine;

import io.kestra.core.models.executions.Execution;
import io.kestra.core.models.executions.ExecutionKilled;
import io.kestra.core.models.executions.ExecutionKilledExecution;
import io.kestra.core.models.executions.LogEntry;
import io.kestra.core.models.executions.TaskRun;
import io.kestra.core.queues.BroadcastQueueInterface;
import io.kestra.core.repositories.LogDataStoreInterface;
import io.kestra.core.services.ExecutionOutputService;
import io.kestra.core.services.TaskOutputService;
import io.micronaut.context.ApplicationContext;
import io.micronaut.core.type.Argument;
import java.net.ServerSocket;
import java.util.List;
import java.util.Map;
import org.slf4j.event.Level;

/** What only Kestra 2.0 has. */
final class Release {
    private final LogDataStoreInterface logs;
    private final BroadcastQueueInterface<ExecutionKilled> kills;
    private final TaskOutputService taskOutputs;
    private final ExecutionOutputService executionOutputs;

    Release(ApplicationContext context) {
        logs = context.getBean(LogDataStoreInterface.class);
        kills = context.getBean(Argument.of(BroadcastQueueInterface.class, ExecutionKilled.class));
        taskOutputs = context.getBean(TaskOutputService.class);
        executionOutputs = context.getBean(ExecutionOutputService.class);
    }

    /** Its workers speak to their controller by gRPC, here on a free port of this host. */
    static Map<String, Object> settings() throws Exception {
        int port;
        try (ServerSocket free = new ServerSocket(0)) {
            port = free.getLocalPort();
        }
        return Map.of(
            "kestra.server.termination-grace-period", "1s",
            "kestra.controller.port", port,
            "kestra.worker.controllers.type", "STATIC",
            "kestra.worker.controllers.static.endpoints", List.of(Map.of("host", "localhost", "port", port)),
            "grpc.server.enabled", false,
            "grpc.server.health.enabled", false);
    }

    void kill(Execution execution) throws Exception {
        kills.emit(ExecutionKilledExecution.builder()
            .tenantId(execution.getTenantId())
            .executionId(execution.getId())
            .state(ExecutionKilled.State.REQUESTED)
            .isOnKillCascade(true)
            .build());
    }

    Map<String, Object> outputs(TaskRun run) throws Exception {
        return taskOutputs.getOutputs(run);
    }

    Map<String, Object> outputs(Execution execution) throws Exception {
        return executionOutputs.getOutputs(execution);
    }

    List<LogEntry> logs(Execution execution) {
        return logs.findByExecutionId(execution.getTenantId(), execution.getId(), Level.INFO);
    }
}
