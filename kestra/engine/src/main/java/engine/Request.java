package engine;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;

/** One line of JSON, and what its fields hold. A field that lacks or is of the wrong type is refused by name. */
record Request(JsonNode json) {
    private static final ObjectMapper JSON = new ObjectMapper();

    static Request read(String line) throws Refusal {
        try {
            JsonNode json = JSON.readTree(line);
            if (json.isObject()) {
                return new Request(json);
            }
        } catch (IOException notJson) {
            // told below: what Jackson says shows the line, which may hold a secret
        }
        throw new Refusal(Refusal.Kind.REQUEST, "a request is one line with a JSON object");
    }

    /** What the reply repeats; null where the request has none. */
    JsonNode id() {
        return json.get("id");
    }

    String text(String field) throws Refusal {
        JsonNode value = json.path(field);
        if (!value.isTextual()) {
            throw new Refusal(Refusal.Kind.REQUEST, field + ": a text is wanted");
        }
        return value.textValue();
    }

    Duration seconds(String field) throws Refusal {
        JsonNode value = json.path(field);
        if (!value.isNumber() || value.doubleValue() < 0) {
            throw new Refusal(Refusal.Kind.REQUEST, field + ": a number of seconds is wanted");
        }
        return Duration.ofMillis(Math.round(1000 * value.doubleValue()));
    }

    /** An object's fields; none where the request does not have it. */
    @SuppressWarnings("unchecked")
    Map<String, Object> values(String field) throws Refusal {
        JsonNode value = json.path(field);
        if (value.isMissingNode()) {
            return Map.of();
        }
        if (!value.isObject()) {
            throw new Refusal(Refusal.Kind.REQUEST, field + ": an object is wanted");
        }
        return JSON.convertValue(value, LinkedHashMap.class);
    }
}
