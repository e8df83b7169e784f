"""`python -m homotopy`: the same command line as `homotopy`."""

from homotopy.run import main

raise SystemExit(main())
