package engine;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.kestra.core.serializers.JacksonMapper;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;

/**
 * Answers requests: one JSON object a line on standard input, one reply a line on standard output, each when it is done.
 *
 * <p>A reply repeats the request's `id` and holds a `result`, or an `error` and its `kind` ({@link Refusal.Kind}).
 * <pre>
 * {"op": "validate", "source"}                        {"violations": [], "warnings": [], "deprecated": []}
 * {"op": "load", "source"}                            {"revision"}
 * {"op": "run", "namespace", "flow", "inputs", "labels"}  {"execution"}
 * {"op": "wait", "execution", "seconds"}              {@link Description}
 * {"op": "execution", "execution"}                    {@link Description}
 * {"op": "executions", "namespace", "flow"}           {"executions": [...]}
 * {"op": "kill", "execution"}                         {}
 * </pre>
 * The first line says {"ready": true}. The process ends with its standard input. Logs go to standard error.
 */
public final class Main {
    private static final ObjectMapper JSON = JacksonMapper.ofJson(false);

    private final Engine engine;
    private final PrintStream replies;

    private Main(Engine engine, PrintStream replies) {
        this.engine = engine;
        this.replies = replies;
    }

    /** Arguments: the engine's folder, and "triggers" where schedules shall fire. */
    public static void main(String[] arguments) throws Exception {
        PrintStream replies = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        System.setOut(System.err); // a library's print would stand between the replies
        int status = 1;
        try {
            Engine engine = Engine.boot(Path.of(arguments[0]), List.of(arguments).contains("triggers"));
            new Main(engine, replies).serve();
            status = 0;
        } catch (Exception failed) {
            failed.printStackTrace();
        }
        Runtime.getRuntime().halt(status); // nothing in memory is worth Kestra's graceful stop
    }

    private void serve() throws Exception {
        say("{\"ready\": true}");
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Executor apart = Executors.newVirtualThreadPerTaskExecutor();
        for (String line; (line = requests.readLine()) != null; ) {
            String request = line;
            apart.execute(() -> say(reply(request)));
        }
    }

    private synchronized void say(String line) {
        replies.println(line);
        replies.flush();
    }

    private String reply(String line) {
        Map<String, Object> reply = new LinkedHashMap<>();
        try {
            Request request = Request.read(line);
            reply.put("id", request.id());
            reply.put("result", result(request));
            return JSON.writeValueAsString(reply);
        } catch (Refusal refused) {
            return refusal(reply.get("id"), refused.kind, refused.getMessage());
        } catch (Throwable failed) { // a thread that ends without a word leaves whoever asked waiting
            failed.printStackTrace();
            return refusal(reply.get("id"), Refusal.Kind.ENGINE, failed.toString());
        }
    }

    private static String refusal(Object id, Refusal.Kind kind, String message) {
        ObjectNode reply = JsonNodeFactory.instance.objectNode();
        return reply.putPOJO("id", id).put("error", message).put("kind", kind.name()).toString();
    }

    private Map<String, Object> result(Request request) throws Exception {
        String op = request.text("op");
        return switch (op) {
            case "validate" -> engine.validate(request.text("source"));
            case "load" -> engine.load(request.text("source"));
            case "run" -> engine.run(
                request.text("namespace"), request.text("flow"), request.values("inputs"), request.values("labels"));
            case "wait" -> engine.await(request.text("execution"), request.seconds("seconds"));
            case "execution" -> engine.execution(request.text("execution"));
            case "executions" -> engine.executions(request.text("namespace"), request.text("flow"));
            case "kill" -> engine.kill(request.text("execution"));
            default -> throw new Refusal(Refusal.Kind.REQUEST, "op: there is none that is called " + op);
        };
    }
}
