package engine;

/** Why a request got no answer, as a word that a program can branch on and a sentence for a person. */
final class Refusal extends Exception {
    /** What was wrong. */
    enum Kind {
        /** The request itself. */
        REQUEST,
        /** No such flow or execution. */
        UNKNOWN,
        /** The flow's source. */
        FLOW,
        /** The inputs of an execution. */
        INPUTS,
        /** It took longer than the request allows. */
        LATE,
        /** The engine. */
        ENGINE
    }

    final Kind kind;

    Refusal(Kind kind, String message) {
        super(message);
        this.kind = kind;
    }
}
