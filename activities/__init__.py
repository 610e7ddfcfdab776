"""One class per stage, with ports handed to the constructor. Numbers are judged here, where they are measured."""
