package engine;

import io.kestra.core.models.Label;
import io.kestra.core.models.executions.Execution;
import io.kestra.core.models.executions.LogEntry;
import io.kestra.core.models.executions.TaskRun;
import io.kestra.core.models.flows.State;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** An execution as JSON: what became of it, of each of its tasks, and what they logged. */
record Description(Release release, Execution execution, boolean ended) {
    Map<String, Object> asJson() throws Exception {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("id", execution.getId());
        told.put("namespace", execution.getNamespace());
        told.put("flow", execution.getFlowId());
        told.put("ended", ended);
        told.putAll(times(execution.getState()));
        told.put("inputs", orNone(execution.getInputs()));
        told.put("outputs", orNone(release.outputs(execution)));
        told.put("labels", labels());
        List<Map<String, Object>> tasks = new ArrayList<>();
        for (TaskRun run : execution.getTaskRunList() == null ? List.<TaskRun>of() : execution.getTaskRunList()) {
            tasks.add(task(run));
        }
        told.put("tasks", tasks);
        told.put("logs", release.logs(execution).stream().map(Description::line).toList());
        return told;
    }

    private Map<String, String> labels() {
        Map<String, String> labels = new LinkedHashMap<>();
        for (Label label : execution.getLabels() == null ? List.<Label>of() : execution.getLabels()) {
            labels.put(label.key(), label.value());
        }
        return labels;
    }

    private Map<String, Object> task(TaskRun run) throws Exception {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("id", run.getTaskId());
        told.put("value", run.getValue());
        told.putAll(times(run.getState()));
        told.put("attempts", run.getAttempts() == null ? 0 : run.getAttempts().size());
        told.put("outputs", orNone(release.outputs(run)));
        return told;
    }

    private static Map<String, Object> times(State state) {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("state", state.getCurrent().name());
        told.put("started", state.getStartDate().toString());
        told.put("stopped", state.getEndDate().map(Object::toString).orElse(null));
        return told;
    }

    private static Map<String, Object> line(LogEntry entry) {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("level", entry.getLevel().name());
        told.put("message", entry.getMessage());
        told.put("task", entry.getTaskId());
        return told;
    }

    private static Map<String, Object> orNone(Map<String, Object> values) {
        return values == null ? Map.of() : values;
    }
}
