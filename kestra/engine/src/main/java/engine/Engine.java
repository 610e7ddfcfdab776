package engine;

import engine.Refusal.Kind;
import io.kestra.core.exceptions.InputOutputValidationException;
import io.kestra.core.models.Label;
import io.kestra.core.models.executions.Execution;
import io.kestra.core.models.flows.Flow;
import io.kestra.core.models.flows.FlowInterface;
import io.kestra.core.models.flows.FlowSource;
import io.kestra.core.models.validations.ValidateConstraintViolation;
import io.kestra.core.repositories.ExecutionRepositoryInterface;
import io.kestra.core.repositories.FlowRepositoryInterface;
import io.kestra.core.runners.FlowInputOutput;
import io.kestra.core.runners.FlowMetaStoreInterface;
import io.kestra.core.runners.TestRunner;
import io.kestra.core.runners.TestRunnerUtils;
import io.kestra.core.services.ExecutionService;
import io.kestra.core.services.FlowService;
import io.micronaut.context.ApplicationContext;
import io.micronaut.data.model.Pageable;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.BooleanSupplier;

/** Kestra itself, without its web server: flows come in as source, executions are known by their ids. */
final class Engine {
    /** Open-source Kestra has this one tenant. */
    static final String TENANT = "main";

    private static final Duration LOOK_EVERY = Duration.ofMillis(5);
    /** A queue carries an execution or a flow to where it is looked up; on busy machines that takes a second. */
    private static final Duration KNOWN_WITHIN = Duration.ofSeconds(60);

    private final FlowService flows;
    private final FlowRepositoryInterface sources;
    private final FlowMetaStoreInterface inForce;
    private final ExecutionRepositoryInterface executions;
    private final ExecutionService ends;
    private final FlowInputOutput inputs;
    private final TestRunnerUtils runner;
    private final Release release;

    private Engine(ApplicationContext context) {
        flows = context.getBean(FlowService.class);
        sources = context.getBean(FlowRepositoryInterface.class);
        inForce = context.getBean(FlowMetaStoreInterface.class);
        executions = context.getBean(ExecutionRepositoryInterface.class);
        ends = context.getBean(ExecutionService.class);
        inputs = context.getBean(FlowInputOutput.class);
        runner = context.getBean(TestRunnerUtils.class);
        release = new Release(context);
    }

    /** An engine that runs; its database is in memory, its files are in that folder. */
    static Engine boot(Path folder, boolean withTriggers) throws Exception {
        ApplicationContext context = ApplicationContext.builder()
            .deduceEnvironment(false).banner(false).properties(Settings.in(folder)).start();
        TestRunner all = context.getBean(TestRunner.class);
        all.setSchedulerEnabled(withTriggers);
        all.run();
        return new Engine(context);
    }

    /** What Kestra has against a flow, and what it only warns of. */
    Map<String, Object> validate(String source) {
        ValidateConstraintViolation found = flows.validate(TENANT, List.of(new FlowSource("flow.yaml", source))).getFirst();
        return Map.of(
            "violations", found.getConstraints() == null ? List.of() : found.getConstraints().strip().lines().toList(),
            "warnings", orNone(found.getWarnings()),
            "deprecated", orNone(found.getDeprecationPaths()));
    }

    /** Puts a flow in force, in the place of one of the same id. */
    Map<String, Object> load(String source) throws Exception {
        if (validate(source).get("violations") instanceof List<?> violations && !violations.isEmpty()) {
            throw new Refusal(Kind.FLOW, String.join("\n", violations.stream().map(Object::toString).toList()));
        }
        FlowInterface loaded = flows.importFlow(TENANT, source);
        await(KNOWN_WITHIN, loaded.getId() + " was not taken up", () ->
            inForce.findById(TENANT, loaded.getNamespace(), loaded.getId(), Optional.empty())
                .filter(each -> Objects.equals(each.getRevision(), loaded.getRevision())).isPresent());
        return Map.of("revision", loaded.getRevision());
    }

    /** Starts an execution, once its inputs are known to be valid. */
    Map<String, Object> run(String namespace, String id, Map<String, Object> given, Map<String, Object> labels)
            throws Exception {
        Flow flow = sources.findById(TENANT, namespace, id)
            .orElseThrow(() -> new Refusal(Kind.UNKNOWN, "no flow " + namespace + "." + id + " is loaded"));
        List<Label> own = labels.entrySet().stream()
            .map(each -> new Label(each.getKey(), String.valueOf(each.getValue()))).toList();
        Execution execution;
        try {
            execution = Execution.newExecution(
                flow, (of, begun) -> inputs.readExecutionInputs(of, begun, given), own, Optional.empty());
        } catch (InputOutputValidationException invalid) {
            throw new Refusal(Kind.INPUTS, invalid.getMessage());
        }
        runner.emitAndAwaitExecution(known -> true, execution, KNOWN_WITHIN);
        return Map.of("execution", execution.getId());
    }

    /** The execution once all of it has ended, its `afterExecution` too. */
    Map<String, Object> await(String id, Duration within) throws Exception {
        find(id);
        await(within, id + " has not ended", () -> executions.findById(TENANT, id).filter(this::hasEnded).isPresent());
        return execution(id);
    }

    /** Asks for the end of an execution and of those that it started; one that has ended stays as it is. */
    Map<String, Object> kill(String id) throws Exception {
        release.kill(find(id));
        return Map.of();
    }

    /** The execution as it is now. */
    Map<String, Object> execution(String id) throws Exception {
        return describe(find(id));
    }

    /** Every execution of a flow, those that other flows started too; oldest first. */
    Map<String, Object> executions(String namespace, String flow) throws Exception {
        List<Execution> found = executions.findByFlowId(TENANT, namespace, flow, Pageable.UNPAGED).stream()
            .sorted((one, other) -> one.getState().getStartDate().compareTo(other.getState().getStartDate())).toList();
        var described = new java.util.ArrayList<Map<String, Object>>();
        for (Execution each : found) {
            described.add(describe(each));
        }
        return Map.of("executions", described);
    }

    private Execution find(String id) throws Refusal {
        return executions.findById(TENANT, id).orElseThrow(() -> new Refusal(Kind.UNKNOWN, "no execution " + id));
    }

    private Map<String, Object> describe(Execution execution) throws Exception {
        return new Description(release, execution, hasEnded(execution)).asJson();
    }

    private boolean hasEnded(Execution execution) {
        return ends.isTerminated(sources.findByExecution(execution), execution);
    }

    private static void await(Duration within, String otherwise, BooleanSupplier holds) throws Exception {
        for (long until = System.nanoTime() + within.toNanos(); !holds.getAsBoolean(); Thread.sleep(LOOK_EVERY)) {
            if (System.nanoTime() > until) {
                throw new Refusal(Kind.LATE, otherwise + " after " + within);
            }
        }
    }

    private static List<String> orNone(List<String> found) {
        return found == null ? List.of() : found;
    }
}
